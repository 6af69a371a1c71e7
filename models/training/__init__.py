"""Training of the default model: data, examples, network, export. README.md says how to run it."""
