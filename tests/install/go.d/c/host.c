void app_run(void);
int main(void) {
    app_run();
    return 0;
}
