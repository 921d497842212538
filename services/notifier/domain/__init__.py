"""What an alert is, when it is raised and what becomes of it: pure, time comes in as an argument."""
