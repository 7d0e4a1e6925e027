"""Where the pipeline meets files and libraries: its own YAML files, a search by Optuna, a score learned by scikit-learn."""
