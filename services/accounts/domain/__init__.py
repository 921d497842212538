"""What accounts decides, without input or output: time, directory and state come in as arguments."""
