"""Everything that only the course needs: exercises and their checks, snapshots, results, figures, widgets."""
