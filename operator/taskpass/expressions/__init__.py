"""CEL behind the evaluator that the core asks for."""
