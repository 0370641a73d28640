"""`vla bench`: what the budgets of DESIGN section 7 come to on this machine."""
