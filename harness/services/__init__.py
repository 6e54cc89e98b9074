"""Services: effects. What a target talks to while it runs: the tools of the scenario, and its user's interruptions."""
