"""The networks of the papers: nn.Modules and nothing else. They know no loss, no optimiser and no data."""
