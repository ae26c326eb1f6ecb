"""What to segment and how to prompt it: YAML to typed rules, matching, prompt recipes and quality verdicts; pure functions."""
