"""A policy at work, without a simulator: exported files, engines that run them, folders for model hubs."""
