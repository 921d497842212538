"""What mappings take and give, and how people, companies and mails are named; pure."""
