"""What every room speaks of: plain slotted values, no behaviour that needs a reactor."""
