/**
 * The server in this window: found, started, started again when it ends, and asked.
 *
 * Owns: the language client, the phase of its life and the server's last status.
 * Invariant: at most one client lives; what an ended client still reports is not heard. A server
 * that ends is started again after 1, 2, 4, … seconds, and after MAX_ENDS ends close together no
 * more until the user says so. Nothing here waits on the editor's thread.
 */

import * as vscode from "vscode";
import {
  ClientCapabilities,
  CloseAction,
  ErrorAction,
  ExecuteCommandRequest,
  LanguageClient,
  LanguageClientOptions,
  State,
  StaticFeature,
} from "vscode-languageclient/node";

import { SuggestionEvents } from "./events";
import { locate } from "./locate";
import { middleware } from "./middleware";
import { serverOptions } from "./settings";
import { Phase, ServerStatus } from "./status";

const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 30_000;
const MAX_ENDS = 6;
/** Who lived so long did not end because of how it was started. */
const LIVED_MS = 60_000;

const SELECTOR = [{ scheme: "file" }, { scheme: "untitled" }, { scheme: "vscode-notebook-cell" }, { scheme: "vscode-remote" }];

/** Tells the server that its status is looked at. */
class StatusCapability implements StaticFeature {
  fillClientCapabilities(capabilities: ClientCapabilities): void {
    capabilities.experimental = { ...(capabilities.experimental as object | undefined), slmLspStatus: true };
  }
  initialize(): void {}
  getState(): { kind: "static" } {
    return { kind: "static" };
  }
  clear(): void {}
}

export class Session {
  readonly events: SuggestionEvents;
  phase: Phase = "stopped";
  status: ServerStatus = {};
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private client: LanguageClient | undefined;
  private timer: NodeJS.Timeout | undefined;
  private nEnds = 0;
  private startedAt = 0;

  constructor(
    private readonly environment: string,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.events = new SuggestionEvents((method, params) => {
      if (this.client?.state === State.Running) {
        this.client.sendNotification(method, params).catch((error) => this.log.debug(String(error)));
      }
    });
  }

  /** Find the server and start it; what is wrong is said. */
  async start(): Promise<void> {
    await this.stop();
    const settings = vscode.workspace.getConfiguration("slm-lsp");
    const located = locate(settings.get<string>("path") ?? "", this.environment);
    if (!located.command) {
      this.become("absent");
      if (located.problem) {
        void this.complain(located.problem, "Open Settings");
      }
      return;
    }
    this.log.info(`starting ${located.command} (from ${located.origin})`);
    this.become("starting");
    this.startedAt = Date.now();
    const client = new LanguageClient("slm-lsp", "slm-lsp", { command: located.command, args: ["serve"] }, this.options());
    this.client = client;
    client.registerFeature(new StatusCapability());
    client.onNotification("slm-lsp/status", (status: ServerStatus) => this.heard(client, status));
    try {
      await client.start();
    } catch (error) {
      this.ended(client, String(error));
      return;
    }
    if (this.client === client) {
      this.become("running");
      this.heard(client, (await this.ask("slm-lsp.status")) as ServerStatus);
    }
  }

  /** Stop the server, and whatever was to start it again. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    const client = this.client;
    this.client = undefined;
    this.events.forget();
    this.status = {};
    this.become("stopped");
    await close(client);
  }

  /** Start anew on the user's word. */
  async restart(): Promise<void> {
    this.nEnds = 0;
    await this.start();
  }

  /** Say that an installation is under way. */
  installing(): void {
    this.become("installing");
  }

  /** Run one of the server's commands; undefined where there is no answer. */
  async ask(command: string, ...arguments_: unknown[]): Promise<unknown> {
    const client = this.client;
    if (client?.state !== State.Running) {
      return undefined;
    }
    try {
      return await client.sendRequest(ExecuteCommandRequest.type, { command, arguments: arguments_ });
    } catch (error) {
      this.log.warn(`${command}: ${String(error)}`);
      return undefined;
    }
  }

  /** Run a command that answers with a status. */
  async command(command: string, ...arguments_: unknown[]): Promise<void> {
    const client = this.client;
    const status = await this.ask(command, ...arguments_);
    if (client && status) {
      this.heard(client, status as ServerStatus);
    }
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: SELECTOR,
      initializationOptions: serverOptions(),
      outputChannel: this.log,
      middleware: middleware(this.events),
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          const client = this.client;
          // Once the client has seen to its own end.
          setTimeout(() => this.ended(client, "the server ended"), 0);
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
    };
  }

  private heard(client: LanguageClient, status: ServerStatus | undefined): void {
    if (this.client === client && status && typeof status === "object") {
      this.status = status;
      this.changed.fire();
    }
  }

  private ended(client: LanguageClient | undefined, why: string): void {
    if (!client || this.client !== client) {
      return;
    }
    this.client = undefined;
    this.events.forget();
    this.status = {};
    void close(client);
    this.nEnds = Date.now() - this.startedAt > LIVED_MS ? 1 : this.nEnds + 1;
    this.log.error(`${why} (${this.nEnds} in a row)`);
    if (this.nEnds >= MAX_ENDS) {
      this.become("stopped");
      void this.complain(`slm-lsp ended ${this.nEnds} times and is not started again.`, "Restart");
      return;
    }
    const delayMs = Math.min(FIRST_DELAY_MS * 2 ** (this.nEnds - 1), MAX_DELAY_MS);
    this.become("waiting");
    this.timer = setTimeout(() => void this.start(), delayMs);
    if (this.nEnds === 1) {
      void this.complain("slm-lsp ended unexpectedly. It is being started again.");
    }
  }

  private async complain(message: string, ...actions: string[]): Promise<void> {
    const chosen = await vscode.window.showWarningMessage(message, ...actions, "Show Log");
    if (chosen === "Restart") {
      await this.restart();
    } else if (chosen === "Open Settings") {
      await vscode.commands.executeCommand("workbench.action.openSettings", "slm-lsp.path");
    } else if (chosen) {
      this.log.show();
    }
  }

  private become(phase: Phase): void {
    this.phase = phase;
    this.changed.fire();
  }
}

/** End a client in whatever state it is. */
async function close(client: LanguageClient | undefined): Promise<void> {
  try {
    await client?.dispose();
  } catch {
    // It has ended already, or never started.
  }
}
