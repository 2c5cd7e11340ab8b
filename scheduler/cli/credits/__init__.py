"""Commands that change grants, holds, prices and charges."""
