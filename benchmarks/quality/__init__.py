"""Quality of completions on HumanEval-Infilling."""
