"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine that is shared, and nothing of the hub.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")
