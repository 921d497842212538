"""Real Kafka, real PostgreSQL and Tenure's services as plain processes of one user on one machine."""
