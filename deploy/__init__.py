"""How Tenure is put somewhere: databases and topics on any cluster; a whole system on one machine is `local`."""
