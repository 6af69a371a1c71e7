/**
 * Why an installation failed, in words that say what to do.
 *
 * Owns: what pip, venv and compilers say when something is missing.
 * Invariant: pure.
 */

const COMPILERS: Record<string, string> = {
  linux: "Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc gcc-c++ make; Arch: pacman -S base-devel",
  darwin: "xcode-select --install",
  win32: "install the Build Tools for Visual Studio with “Desktop development with C++”",
};

export const NO_PYTHON: Record<string, string> = {
  linux: "Debian, Ubuntu: apt-get install python3 python3-venv",
  darwin: "brew install python, or an installer from python.org",
  win32: "winget install Python.Python.3.12, or an installer from python.org",
};

/** What to do where there is no Python that is new enough; `found` are those that are too old. */
export function explainNoPython(found: string[], platform: string): string {
  const seen = found.length ? ` Found: ${found.join(", ")}.` : "";
  return `No Python 3.11 or newer was found.${seen} Install one (${NO_PYTHON[platform] ?? NO_PYTHON.linux}), or name one in the setting slm-lsp.python.`;
}

const NETWORK = /Temporary failure in name resolution|NameResolutionError|getaddrinfo failed|nodename nor servname|Failed to establish a new connection|ConnectTimeoutError|Read timed out|ProxyError|Network is unreachable|Connection refused/;
const COMPILER = /CMAKE_C(XX)?_COMPILER|No CMAKE_C|C compiler .*(not found|cannot)|command '.*(gcc|cc|c\+\+|g\+\+|clang).*' failed: No such file|Microsoft Visual C\+\+ .* is required|nmake.*no such file|CMAKE_MAKE_PROGRAM is not set/i;
const NO_VENV = /ensurepip is not available|No module named '?(venv|ensurepip)'?/;

/** What went wrong and what to do, from all that the failed program printed. */
export function explainFailure(output: string, platform: string, requirement = "slm-lsp"): string {
  if (/No space left on device|not enough space on the disk/.test(output)) {
    return "The disk is full: some 500 MB are needed.";
  }
  if (NO_VENV.test(output)) {
    return "This Python cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv.";
  }
  if (NETWORK.test(output)) {
    return "The Python package index cannot be reached. Check the network and pip's configuration (proxy, index), or install slm-lsp by hand and name it in the setting slm-lsp.path.";
  }
  if (COMPILER.test(output)) {
    return `llama.cpp has to be compiled for this machine, and no C and C++ compiler was found. ${COMPILERS[platform] ?? COMPILERS.linux}.`;
  }
  if (/No matching distribution found|Could not find a version/.test(output)) {
    return `The package index has nothing that fits “${requirement}”. Name a wheel or a checkout in the setting slm-lsp.package.`;
  }
  const last = output.trim().split(/\r?\n/).pop() ?? "";
  return last ? `pip could not install it: ${last.slice(0, 200)}` : "pip could not install it; the log has no reason.";
}

/** What a line of `pip install -v` says about how far it is; empty where it says nothing. */
export function progressOf(line: string): string {
  const compiled = /\[(\d+)\/(\d+)\]/.exec(line);
  if (compiled) {
    return `compiling llama.cpp: ${compiled[1]} of ${compiled[2]}`;
  }
  const word = /^\s*(Collecting|Downloading|Building wheel for|Installing collected packages)\b(.*)/.exec(line);
  return word ? `${word[1].toLowerCase()}${word[2]}`.slice(0, 60) : "";
}
