"""The reference kit `research`: from a goal to a synthesis that cites its sources."""
