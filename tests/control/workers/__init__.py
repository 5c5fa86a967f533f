"""Tests of voltgw.control.workers."""
