"""`python -m controller` is `governor`."""

from controller.cli.main import main

if __name__ == "__main__":
    main()
