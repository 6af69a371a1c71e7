/**
 * What the status bar says, from what is known of the server.
 *
 * Owns: the server's status as it comes over the wire, and its words and icon.
 * Invariant: pure, and any object is a status; what is missing in it is not said.
 */

/** What the server is to this window. */
export type Phase = "absent" | "installing" | "starting" | "running" | "waiting" | "stopped";

/** `slm-lsp/status`, see docs/protocol.md. A server may leave out any of it. */
export interface ServerStatus {
  state?: string;
  model?: string;
  message?: string;
  percentage?: number | null;
  paused_until_s?: number | null;
  last_ms?: number | null;
  last_reject?: string;
}

export interface Bar {
  text: string;
  tooltip: string;
  severity: "none" | "warning" | "error";
}

const NAME = "slm-lsp";

/** What the status bar shows. `enabled` says whether the language at hand is completed. */
export function bar(phase: Phase, status: ServerStatus, enabled: boolean): Bar {
  switch (phase) {
    case "absent":
      return { text: `$(warning) ${NAME}`, tooltip: "No server was found. Click to install it or to name it.", severity: "warning" };
    case "installing":
      return { text: `$(loading~spin) ${NAME}`, tooltip: "The server is being installed.", severity: "none" };
    case "starting":
      return { text: `$(loading~spin) ${NAME}`, tooltip: "The server is starting.", severity: "none" };
    case "waiting":
      return { text: `$(warning) ${NAME}`, tooltip: "The server ended unexpectedly and is started again.", severity: "warning" };
    case "stopped":
      return { text: `$(error) ${NAME}`, tooltip: "The server does not run. Click to start it again.", severity: "error" };
    case "running":
      return running(status, enabled);
  }
}

function running(status: ServerStatus, enabled: boolean): Bar {
  const name = status.model || NAME;
  const tooltip = tooltipOf(status, enabled);
  switch (status.state) {
    case "loading": {
      const done = typeof status.percentage === "number" ? ` ${Math.round(status.percentage)} %` : "";
      return { text: `$(loading~spin) ${name}${done}`, tooltip, severity: "none" };
    }
    case "failed":
      return { text: `$(error) ${NAME}`, tooltip, severity: "error" };
    case "paused":
      return { text: `$(debug-pause) ${name}`, tooltip, severity: "none" };
    case "closed":
      return { text: `$(circle-slash) ${NAME}`, tooltip, severity: "none" };
  }
  if (!enabled) {
    return { text: `$(circle-slash) ${name}`, tooltip, severity: "none" };
  }
  const last = latency(status);
  return { text: `$(sparkle) ${name}${last ? ` ${last}` : ""}`, tooltip, severity: "none" };
}

function latency(status: ServerStatus): string {
  return typeof status.last_ms === "number" ? `${Math.round(status.last_ms)} ms` : "";
}

function tooltipOf(status: ServerStatus, enabled: boolean): string {
  const lines = [status.model ? `${NAME}: ${status.model}, ${status.state}` : `${NAME}: ${status.state ?? "running"}`];
  if (status.message) {
    lines.push(status.message);
  }
  if (!enabled) {
    lines.push("Switched off for this language (slm-lsp.enable).");
  }
  if (latency(status)) {
    lines.push(`Last request: ${latency(status)}${status.last_reject ? `, nothing shown (${status.last_reject})` : ""}`);
  }
  lines.push("Click for the menu.");
  return lines.join("\n");
}

/** Whether a language is completed, by the setting `slm-lsp.enable`. */
export function isEnabled(setting: Record<string, boolean> | undefined, language: string): boolean {
  return setting?.[language] ?? setting?.["*"] ?? true;
}
