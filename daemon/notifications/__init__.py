"""Notifications: what needs a person is told over webhook and e-mail, once when it begins and once when it ends."""
