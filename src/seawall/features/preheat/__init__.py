"""Preheating: peer-to-peer networks learn of images before anybody pulls them."""
