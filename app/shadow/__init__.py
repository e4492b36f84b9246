"""Bots beside their backtests: a backtest is promoted to a bot, and what a bot did is compared with its re-simulation, cause by cause."""
