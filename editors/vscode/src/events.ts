/**
 * What became of suggestions, told to the server.
 *
 * VS Code tells an extension of a suggestion that was accepted as a whole (the item's command), and
 * of nothing else: the calls for shown, partly accepted and rejected ones are a proposed API. So
 * *shown* is what VS Code was given while it could still show it, *a part accepted* what our
 * own commands for a word or a line put in, and *rejected* what our command for Escape hid.
 *
 * Owns: the suggestion that was last offered.
 * Invariant: sends positions and texts that the server itself sent; never waits for an answer.
 */

import * as vscode from "vscode";

interface Offered {
  document: vscode.TextDocument;
  version: number;
  position: vscode.Position;
  item: vscode.InlineCompletionItem;
  start: number;
  key: string;
}

export type Send = (method: string, params: unknown) => void;

export class SuggestionEvents {
  private offered: Offered | undefined;

  constructor(private readonly send: Send) {}

  /** VS Code is given `items` for what stands at `position` now. */
  offer(
    document: vscode.TextDocument,
    position: vscode.Position,
    context: vscode.InlineCompletionContext,
    items: vscode.InlineCompletionItem[],
  ): void {
    const item = items[0];
    const selected = context.selectedCompletionInfo;
    // Beside a popup VS Code shows only what goes on from the selected item.
    if (!item || typeof item.insertText !== "string" || (selected && !item.insertText.startsWith(selected.text))) {
      return;
    }
    const start = item.range?.start ?? position;
    // The same suggestion while its beginning is typed.
    const key = [document.uri, start.line, document.getText(new vscode.Range(start.line, 0, start.line, start.character)) + item.insertText].join("\n");
    const before = this.offered?.key;
    const offered = { document, version: document.version, position, item, start: document.offsetAt(start), key };
    this.offered = offered;
    if (key !== before) {
      setTimeout(() => this.tellShown(offered), 0);
    }
  }

  private tellShown(offered: Offered): void {
    const editor = vscode.window.activeTextEditor;
    const isThere = editor?.document === offered.document && offered.document.version === offered.version;
    if (this.offered === offered && isThere && editor.selection.active.isEqual(offered.position)) {
      this.send("textDocument/didShowCompletion", { item: wire(offered.item) });
    }
  }

  /** Accept a part by one of VS Code's commands, and tell how much of the text is in then. */
  async acceptPart(command: string): Promise<void> {
    const offered = this.offered;
    await vscode.commands.executeCommand(command);
    const editor = vscode.window.activeTextEditor;
    if (!offered || editor?.document !== offered.document) {
      return;
    }
    const start = offered.document.positionAt(offered.start);
    const accepted = offered.document.getText(new vscode.Range(start, editor.selection.active)).replace(/\r\n/g, "\n");
    const text = String(offered.item.insertText).replace(/\r\n/g, "\n");
    if (accepted && text.startsWith(accepted)) {
      this.send("textDocument/didPartiallyAcceptCompletion", { item: wire(offered.item), acceptedLength: accepted.length });
    }
  }

  /** Hide what is shown, and tell so if it was ours. */
  async dismiss(): Promise<void> {
    const offered = this.offered;
    this.offered = undefined;
    await vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
    if (offered && vscode.window.activeTextEditor?.document === offered.document) {
      this.send("slm-lsp/didRejectCompletion", { item: wire(offered.item) });
    }
  }

  /** The item was accepted as a whole, or its document is gone. */
  forget(): void {
    this.offered = undefined;
  }
}

/** An item as the server sent it. */
function wire(item: vscode.InlineCompletionItem): Record<string, unknown> {
  const at = (position: vscode.Position) => ({ line: position.line, character: position.character });
  const { range, command } = item;
  return {
    insertText: String(item.insertText),
    ...(range && { range: { start: at(range.start), end: at(range.end) } }),
    ...(command && { command: { title: command.title, command: command.command, arguments: command.arguments } }),
  };
}
