/**
 * slm-lsp in VS Code: starting the server, and the commands, status bar and events around it.
 *
 * Owns: what is registered with VS Code, and the order in which it begins.
 * Invariant: no decision about suggestions is made here; those are the server's.
 */

import * as path from "path";
import * as vscode from "vscode";

import { install } from "./install";
import { chooseModel, explainSilence, showMenu } from "./menu";
import { Session } from "./session";
import { languageIsEnabled } from "./settings";
import { statistics } from "./statistics";
import { bar } from "./status";

const WELCOMED = "welcomed";
const WALKTHROUGH = "slm-lsp.slm-lsp#start";
const COLOURS = { none: undefined, warning: "statusBarItem.warningBackground", error: "statusBarItem.errorBackground" };

let session: Session | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("slm-lsp", { log: true });
  const environment = path.join(context.globalStorageUri.fsPath, "environment");
  const current = new Session(environment, log);
  session = current;

  const installAndStart = async (): Promise<void> => {
    current.installing();
    await install(environment, context.asAbsolutePath("server.tar.gz"), log);
    await current.restart();
  };
  const commands: Record<string, (...arguments_: never[]) => unknown> = {
    "slm-lsp.restart": () => current.restart(),
    "slm-lsp.install": installAndStart,
    "slm-lsp.showMenu": () => showMenu(current, log, installAndStart),
    "slm-lsp.showLog": () => log.show(),
    "slm-lsp.chooseModel": () => chooseModel(current),
    "slm-lsp.explainSilence": () => explainSilence(current),
    "slm-lsp.pauseSuggestions": () => current.command("slm-lsp.pause"),
    "slm-lsp.resumeSuggestions": () => current.command("slm-lsp.resume"),
    "slm-lsp.snooze5": () => current.command("slm-lsp.pause", 5),
    "slm-lsp.snooze30": () => current.command("slm-lsp.pause", 30),
    "slm-lsp.acceptWord": () => current.events.acceptPart("editor.action.inlineSuggest.acceptNextWord"),
    "slm-lsp.acceptLine": () => current.events.acceptPart("editor.action.inlineSuggest.acceptNextLine"),
    "slm-lsp.dismiss": () => current.events.dismiss(),
  };
  for (const [name, run] of Object.entries(commands)) {
    context.subscriptions.push(vscode.commands.registerCommand(name, run));
  }
  context.subscriptions.push(log, statistics(current), statusBar(current));
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("slm-lsp.server") || event.affectsConfiguration("slm-lsp.path")) {
        void current.restart();
      }
    }),
  );
  void begin(context, current, installAndStart);
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}

/** Start; on the very first start show the walkthrough, and where there is no server offer one. */
async function begin(context: vscode.ExtensionContext, current: Session, installAndStart: () => Promise<void>): Promise<void> {
  if (!context.globalState.get(WELCOMED)) {
    await context.globalState.update(WELCOMED, true);
    void vscode.commands.executeCommand("workbench.action.openWalkthrough", WALKTHROUGH, false);
  }
  await current.start();
  const named = vscode.workspace.getConfiguration("slm-lsp").get<string>("path");
  if (current.phase === "absent" && !named) {
    const question = "slm-lsp: the server was not found. Install it into an environment of the extension's own? Compiling llama.cpp takes some minutes.";
    const answer = await vscode.window.showInformationMessage(question, "Install", "Name the Server");
    if (answer === "Install") {
      await installAndStart();
    } else if (answer) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "slm-lsp.path");
    }
  }
}

function statusBar(current: Session): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("slm-lsp.status", vscode.StatusBarAlignment.Right, 100);
  item.name = "slm-lsp";
  item.command = "slm-lsp.showMenu";
  const show = (): void => {
    const document = vscode.window.activeTextEditor?.document;
    const { text, tooltip, severity } = bar(current.phase, current.status, !document || languageIsEnabled(document));
    item.text = text;
    item.tooltip = tooltip;
    const colour = COLOURS[severity];
    item.backgroundColor = colour ? new vscode.ThemeColor(colour) : undefined;
  };
  show();
  item.show();
  return vscode.Disposable.from(
    item,
    current.onDidChange(show),
    vscode.window.onDidChangeActiveTextEditor(show),
    vscode.workspace.onDidChangeConfiguration(show),
  );
}
