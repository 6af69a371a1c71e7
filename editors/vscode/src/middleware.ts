/**
 * What passes between VS Code and the server.
 *
 * Invariant: answers are handed on as they are. A language that is switched off, and the popup
 * unless it is switched on, cost no request.
 */

import * as vscode from "vscode";
import { Middleware } from "vscode-languageclient/node";

import { SuggestionEvents } from "./events";
import { languageIsEnabled } from "./settings";

export function middleware(events: SuggestionEvents): Middleware {
  return {
    async provideInlineCompletionItems(document, position, context, token, next) {
      if (!languageIsEnabled(document)) {
        return undefined;
      }
      const answer = await next(document, position, context, token);
      if (!token.isCancellationRequested) {
        events.offer(document, position, context, (Array.isArray(answer) ? answer : answer?.items) ?? []);
      }
      return answer;
    },
    provideCompletionItem(document, position, context, token, next) {
      const popup = vscode.workspace.getConfiguration("slm-lsp", document).get<boolean>("popup");
      return popup && languageIsEnabled(document) ? next(document, position, context, token) : undefined;
    },
    async executeCommand(command, arguments_, next) {
      if (command === "slm-lsp.accepted") {
        events.forget();
      }
      return next(command, arguments_);
    },
  };
}
