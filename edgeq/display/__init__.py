"""What a person sees: progress while edgeq works, and summaries of results for a terminal, a log, a notebook."""
