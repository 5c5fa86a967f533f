"""Data-plane processes as the control process keeps them: what they count, how they are started anew, how they are found."""
