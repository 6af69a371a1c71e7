/**
 * A virtual environment of our own with the server in it, made after asking.
 *
 * Owns: the environment in the extension's global storage.
 * Invariant: an installation that was interrupted or failed leaves nothing that is taken for a
 * server, and every failure says what to do.
 */

import { spawn } from "child_process";
import * as fs from "fs";
import * as path from "path";
import * as vscode from "vscode";

import { explainFailure, explainNoPython, progressOf } from "./explain";
import { INSTALLED, inEnvironment, onPath } from "./locate";

const CANDIDATES = ["python3", "python3.13", "python3.12", "python3.11", "python3.14", "python"];
const VERSION = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))";

/** What the user should read. */
class Explained extends Error {}

/** Install what the setting slm-lsp.package names, or else `bundled`; true where there is a server afterwards. */
export async function install(environment: string, bundled: string, log: vscode.LogOutputChannel): Promise<boolean> {
  const options = { location: vscode.ProgressLocation.Notification, title: "Installing slm-lsp", cancellable: true };
  return vscode.window.withProgress(options, async (progress, token) => {
    try {
      await installInto(environment, bundled, log, (message) => progress.report({ message }), token);
      return true;
    } catch (error) {
      if (!token.isCancellationRequested) {
        const why = error instanceof Explained ? error.message : String(error);
        log.error(why);
        void offerLog(`slm-lsp was not installed. ${why}`, log);
      }
      return false;
    }
  });
}

async function offerLog(message: string, log: vscode.LogOutputChannel): Promise<void> {
  if ((await vscode.window.showErrorMessage(message, "Show Log")) === "Show Log") {
    log.show();
  }
}

async function installInto(
  environment: string,
  bundled: string,
  log: vscode.LogOutputChannel,
  report: (message: string) => void,
  token: vscode.CancellationToken,
): Promise<void> {
  const settings = vscode.workspace.getConfiguration("slm-lsp");
  const requirement = settings.get<string>("package") || bundled;
  report("looking for Python");
  const python = await findPython(settings.get<string>("python") ?? "", token);
  fs.mkdirSync(path.dirname(environment), { recursive: true });
  fs.rmSync(path.join(environment, INSTALLED), { force: true });
  report("making a virtual environment");
  await run(python, ["-m", "venv", "--clear", environment], log, token, requirement);
  report("asking pip");
  const arguments_ = ["-m", "pip", "install", "-v", "--disable-pip-version-check", requirement];
  await run(inEnvironment(environment, "python"), arguments_, log, token, requirement, (line) => {
    const message = progressOf(line);
    if (message) {
      report(message);
    }
  });
  if (!fs.existsSync(inEnvironment(environment, "slm-lsp"))) {
    throw new Explained(`“${requirement}” was installed, but has no program slm-lsp. See the setting slm-lsp.package.`);
  }
  fs.writeFileSync(path.join(environment, INSTALLED), JSON.stringify({ requirement, python }));
}

/** A Python that is new enough. */
async function findPython(setting: string, token: vscode.CancellationToken): Promise<string> {
  const old: string[] = [];
  for (const name of setting ? [setting] : CANDIDATES) {
    const program = /[\\/]/.test(name) ? name : onPath(name);
    if (program) {
      const { code, output } = await outputOf(program, ["-c", VERSION], token);
      if (code === 0) {
        return program;
      }
      old.push(`${program} (${/^\d+\.\d+$/m.exec(output)?.[0] ?? "does not run"})`);
    }
  }
  throw new Explained(explainNoPython(old, process.platform));
}

async function run(
  program: string,
  arguments_: string[],
  log: vscode.LogOutputChannel,
  token: vscode.CancellationToken,
  requirement: string,
  onLine: (line: string) => void = () => undefined,
): Promise<void> {
  log.info([program, ...arguments_].join(" "));
  const { code, output } = await outputOf(program, arguments_, token, (line) => {
    log.info(line);
    onLine(line);
  });
  if (code !== 0) {
    throw new Explained(explainFailure(output, process.platform, requirement));
  }
}

/** Run a program to its end, or until cancelled; its exit status and all that it printed. */
function outputOf(
  program: string,
  arguments_: string[],
  token: vscode.CancellationToken,
  onLine: (line: string) => void = () => undefined,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    // Leaving out llama.cpp's image tools saves a third of the compile time.
    const env = { CMAKE_ARGS: "-DLLAVA_BUILD=OFF", ...process.env, PYTHONUTF8: "1" };
    const child = spawn(program, arguments_, { env, stdio: ["ignore", "pipe", "pipe"] });
    const stop = token.onCancellationRequested(() => child.kill());
    let output = "";
    let rest = "";
    const take = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-200_000);
      const lines = (rest + chunk.toString()).split(/\r?\n/);
      rest = lines.pop() ?? "";
      lines.forEach(onLine);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const end = (code: number | null, more = ""): void => {
      stop.dispose();
      resolve({ code, output: output + more });
    };
    child.on("error", (error) => end(null, error.message));
    child.on("close", (code) => end(code));
  });
}
