/**
 * The settings, as the server and the window want them.
 *
 * Invariant: only what the user set is sent, so that the server's own file and variables count
 * for the rest. Which settings there are, package.json says; it is made from slm_lsp/config.py.
 */

import * as vscode from "vscode";

import { isEnabled } from "./status";

/** What of `slm-lsp.server.…` is set, under the server's names. */
export function serverOptions(): Record<string, unknown> {
  const settings = vscode.workspace.getConfiguration("slm-lsp.server");
  const options: Record<string, unknown> = {};
  for (const name of Object.keys(settings)) {
    const found = settings.inspect(name);
    const value = found?.workspaceFolderValue ?? found?.workspaceValue ?? found?.globalValue;
    if (value !== undefined) {
      options[name] = value;
    }
  }
  return options;
}

/** Whether the document's language is completed. */
export function languageIsEnabled(document: vscode.TextDocument): boolean {
  return isEnabled(vscode.workspace.getConfiguration("slm-lsp", document).get("enable"), document.languageId);
}

/** Switch a language on or off, for the user. */
export async function enableLanguage(language: string, on: boolean): Promise<void> {
  const settings = vscode.workspace.getConfiguration("slm-lsp");
  const before = settings.inspect<Record<string, boolean>>("enable")?.globalValue ?? {};
  await settings.update("enable", { ...before, [language]: on }, vscode.ConfigurationTarget.Global);
}
