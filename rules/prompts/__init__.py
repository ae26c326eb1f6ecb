"""Prompt recipes: each turns a target and its context into box, point or mask prompts."""
