"""What LEE and GenSR share of their networks: how data are read and expressions written."""
