"""What an evaluation looks like: tables for the terminal, and one self-contained HTML page."""
