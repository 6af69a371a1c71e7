/**
 * The session's counters, as a document that can only be read.
 */

import * as vscode from "vscode";

import { Session } from "./session";

const SCHEME = "slm-lsp-statistics";
const URI = vscode.Uri.parse(`${SCHEME}:/slm-lsp statistics.json`);

/** Register the document and the command that shows it. */
export function statistics(session: Session): vscode.Disposable {
  const changed = new vscode.EventEmitter<vscode.Uri>();
  const provider: vscode.TextDocumentContentProvider = {
    onDidChange: changed.event,
    async provideTextDocumentContent() {
      return JSON.stringify((await session.ask("slm-lsp.stats")) ?? { error: "slm-lsp does not run" }, null, 2);
    },
  };
  return vscode.Disposable.from(
    changed,
    vscode.workspace.registerTextDocumentContentProvider(SCHEME, provider),
    vscode.commands.registerCommand("slm-lsp.showStatistics", async () => {
      changed.fire(URI);
      await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(URI), { preview: true });
    }),
  );
}
