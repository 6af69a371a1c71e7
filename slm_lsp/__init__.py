"""slm-lsp: code completion on your own CPU, within a latency budget."""

__version__ = "0.1.0"
