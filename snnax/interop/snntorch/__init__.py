"""snnTorch networks to NIR and back; with ``norse`` the only part of snnax that imports torch.

What runs and traces torch networks is shared with ``norse`` and imports neither snnTorch nor Norse.
"""
