"""What accounts does with events and jobs: `batch` receives records, `fold` applies them, `jobs` reads again after edits."""
