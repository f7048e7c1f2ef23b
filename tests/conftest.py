"""How examples are searched for on any machine: however long one takes, it proves nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("kando", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kando")
