"""Preheating: peer-to-peer networks are told of images before anybody pulls them."""
