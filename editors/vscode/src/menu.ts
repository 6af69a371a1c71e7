/**
 * The menu behind the status bar, and what its entries do.
 *
 * Owns: words only. What the server knows it is asked for.
 * Invariant: every entry says what came of it, also where the server has no answer.
 */

import * as vscode from "vscode";

import { Session } from "./session";
import { enableLanguage, languageIsEnabled } from "./settings";

interface Entry extends vscode.QuickPickItem {
  run?: () => unknown;
}

interface Model {
  name: string;
  title?: string;
  licence?: string;
  in_use?: boolean;
  quantizations?: { name: string; size_bytes?: number; state?: string; in_use?: boolean }[];
}

interface Why {
  reject?: string | null;
  sentence?: string;
  advice?: string;
  detail?: string;
}

export async function showMenu(session: Session, log: vscode.LogOutputChannel, install: () => unknown): Promise<void> {
  const paused = session.status.state === "paused";
  const entries: Entry[] = [];
  if (session.phase === "running") {
    entries.push(...pauses(session, paused), ...language());
    entries.push({ label: "$(package) Choose Model…", run: () => chooseModel(session) });
    entries.push({ label: "$(question) Why No Suggestion?", run: () => explainSilence(session) });
    entries.push({ label: "$(graph) Statistics", run: () => vscode.commands.executeCommand("slm-lsp.showStatistics") });
  } else if (session.phase === "absent") {
    entries.push({ label: "$(cloud-download) Install the Server…", run: install });
    entries.push({ label: "$(folder-opened) Name the Server…", run: () => openSettings("slm-lsp.path") });
  }
  entries.push({ label: "$(output) Show Log", run: () => log.show() });
  entries.push({ label: "$(refresh) Restart Server", run: () => session.restart() });
  entries.push({ label: "$(gear) Settings", run: () => openSettings("@ext:slm-lsp.slm-lsp") });
  const title = session.status.model ? `slm-lsp: ${session.status.model}, ${session.status.state}` : "slm-lsp";
  const chosen = await vscode.window.showQuickPick(entries, { title, placeHolder: session.status.message });
  await chosen?.run?.();
}

function pauses(session: Session, paused: boolean): Entry[] {
  if (paused) {
    return [{ label: "$(debug-start) Resume", run: () => session.command("slm-lsp.resume") }];
  }
  return [
    { label: "$(debug-pause) Pause", run: () => session.command("slm-lsp.pause") },
    { label: "$(bell-slash) Snooze 5 Minutes", run: () => session.command("slm-lsp.pause", 5) },
    { label: "$(bell-slash) Snooze 30 Minutes", run: () => session.command("slm-lsp.pause", 30) },
  ];
}

function language(): Entry[] {
  const document = vscode.window.activeTextEditor?.document;
  if (!document) {
    return [];
  }
  const on = languageIsEnabled(document);
  const label = `$(circle-slash) ${on ? "Switch Off" : "Switch On"} for ${document.languageId}`;
  return [{ label, run: () => enableLanguage(document.languageId, !on) }];
}

function openSettings(query: string): Thenable<unknown> {
  return vscode.commands.executeCommand("workbench.action.openSettings", query);
}

/** Let the user choose among the models that the server lists, or a file. */
export async function chooseModel(session: Session): Promise<void> {
  const models = (await session.ask("slm-lsp.models")) as Model[] | undefined;
  if (!Array.isArray(models)) {
    void vscode.window.showWarningMessage("slm-lsp: the server gives no list of models.");
    return;
  }
  const entries: Entry[] = models.flatMap((model) => entriesOf(session, model));
  entries.push({ label: "$(file) A GGUF File…", run: () => chooseFile(session) });
  const chosen = await vscode.window.showQuickPick(entries, { title: "slm-lsp: Model", matchOnDescription: true });
  await chosen?.run?.();
}

function entriesOf(session: Session, model: Model): Entry[] {
  const quantizations = model.quantizations?.length ? model.quantizations : [{ name: "", in_use: model.in_use }];
  return quantizations.map((each: NonNullable<Model["quantizations"]>[number]) => {
    const size = each.size_bytes ? `${Math.round(each.size_bytes / 1e6)} MB` : "";
    return {
      label: `${each.in_use ? "$(check) " : ""}${model.name} ${each.name}`.trim(),
      description: [size, each.state, model.licence].filter(Boolean).join(", "),
      detail: model.title,
      run: () => session.command("slm-lsp.use", ...[model.name, each.name].filter(Boolean)),
    };
  });
}

async function chooseFile(session: Session): Promise<void> {
  const files = await vscode.window.showOpenDialog({ filters: { GGUF: ["gguf"] }, title: "A model's GGUF file" });
  if (files?.[0]) {
    await session.command("slm-lsp.use", files[0].fsPath);
  }
}

/** Say why the document at hand got no suggestion. */
export async function explainSilence(session: Session): Promise<void> {
  const uri = vscode.window.activeTextEditor?.document.uri.toString();
  const why = (await session.ask("slm-lsp.why", ...(uri ? [uri] : []))) as Why | null | undefined;
  let words = [why?.sentence, why?.advice].filter(Boolean).join(" ");
  if (session.phase !== "running") {
    words = "slm-lsp does not run.";
  } else if (!words) {
    words = why ? "The last request was answered with a suggestion." : "Nothing was asked for here yet.";
  }
  void vscode.window.showInformationMessage(`slm-lsp: ${words}`);
}
