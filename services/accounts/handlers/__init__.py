"""Events and jobs: `batch` receives records, `fold` applies them, `jobs` reads interactions again after edits."""
