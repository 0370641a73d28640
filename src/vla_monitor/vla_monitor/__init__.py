"""Monitor node: rates, ages and latencies of every hop, /diagnostics and vla/health."""
