/**
 * Where the server is: the setting `slm-lsp.path`, else PATH, else the environment of our own.
 *
 * Invariant: nothing is started here, and the workspace has no say in what is (the setting is of
 * scope "machine").
 */

import * as fs from "fs";
import * as os from "os";
import * as path from "path";

/** A server to start, or why there is none. */
export interface Located {
  command?: string;
  origin: "setting" | "PATH" | "managed" | "none";
  problem?: string;
}

const WINDOWS = process.platform === "win32";
/** Written when all is installed, so that what was interrupted is not taken for a server. */
export const INSTALLED = "installed.json";

/** The environment's programs. */
export function inEnvironment(environment: string, program: string): string {
  return path.join(environment, WINDOWS ? "Scripts" : "bin", WINDOWS ? `${program}.exe` : program);
}

/** Look for the server; `environment` is the folder of the managed one. */
export function locate(setting: string, environment: string): Located {
  const named = setting.trim().replace(/^~(?=$|[\\/])/, os.homedir());
  if (named) {
    const command = /[\\/]/.test(named) ? (isProgram(named) ? named : undefined) : onPath(named);
    const problem = command ? undefined : `The setting slm-lsp.path names ${named}, which is no program that can be run.`;
    return { command, origin: "setting", problem };
  }
  const found = onPath("slm-lsp");
  if (found) {
    return { command: found, origin: "PATH" };
  }
  const managed = inEnvironment(environment, "slm-lsp");
  if (fs.existsSync(path.join(environment, INSTALLED)) && isProgram(managed)) {
    return { command: managed, origin: "managed" };
  }
  return { origin: "none" };
}

/** A program of that name on PATH. */
export function onPath(name: string): string | undefined {
  const endings = WINDOWS ? ["", ".exe", ".cmd", ".bat"] : [""];
  for (const folder of (process.env.PATH ?? "").split(path.delimiter).filter(path.isAbsolute)) {
    for (const ending of endings) {
      const candidate = path.join(folder, name + ending);
      if (isProgram(candidate)) {
        return candidate;
      }
    }
  }
  return undefined;
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
