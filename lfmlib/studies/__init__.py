"""What each notebook measures: its grid of runs, its tables and its figures. A notebook only calls and shows."""
