"""How Tenure is put somewhere: databases and topics on any cluster, and a whole system on one machine (`deploy.local`)."""
