"""What the trading of one user came to: read models over the tables of other packages. It owns no table and asks no exchange."""
