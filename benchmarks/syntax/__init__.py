"""Whether what is shown adds syntax errors, in real files of ten languages."""
