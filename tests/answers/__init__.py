"""Answers as readers give them, a module for each chapter's exercises."""
