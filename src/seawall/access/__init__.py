"""Who a caller is and what they may do: passwords, keys, bearer tokens, roles, login throttling."""
